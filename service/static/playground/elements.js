// Small pieces of the page.

export const byId = (id) => document.getElementById(id);

/** element("td", { class: "name" }, "text", child) */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (typeof value === "boolean") made.toggleAttribute(key, value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A bar from 0 to 1 with its number beside it. */
export function bar(value, label) {
  return element(
    "span",
    { class: "bar" },
    element("meter", { min: 0, max: 1, value, "aria-label": label }),
    element("span", { class: "number" }, `${(100 * value).toFixed(1)} %`),
  );
}

/** Buttons of examples: `choose` gets the one that was pressed. */
export function exampleButtons(place, examples, choose) {
  place.replaceChildren(
    ...examples.map((example) => {
      const button = element("button", { type: "button", lang: example.lang }, example.name);
      button.addEventListener("click", () => choose(example));
      return button;
    }),
  );
}

/** Code points: what the server counts in, where JavaScript counts UTF-16 units. */
export const codePoints = (text) => Array.from(text);

export function softmax(values) {
  const highest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}
