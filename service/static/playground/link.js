// What the page shows, kept behind the # of its address: a link brings back the same picture.

export function read() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/** Set these; an undefined or empty value takes a name out. */
export function write(changes) {
  const fields = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === "") fields.delete(name);
    else fields.set(name, value);
  }
  history.replaceState(null, "", `#${fields}`);
}
