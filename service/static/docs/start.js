// Apart from the page, so that a content security policy need not allow scripts inside it.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null, // a validator on another host
  tryItOutEnabled: true,
});
