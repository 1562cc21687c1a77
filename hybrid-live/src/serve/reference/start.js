// Relative, so that the page works behind a proxy that serves it below a path. No validator: it would be elsewhere.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
});
