// Swagger UI has a dark mode but does not switch to it: the page follows the system's colour scheme.
const dark = matchMedia('(prefers-color-scheme: dark)')
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', follow)
follow()

globalThis.SwaggerUIBundle({
  url: 'openapi.yaml',
  domNode: document.querySelector('#reference'),
  validatorUrl: null, // it would send the document's URL to a third party
  queryConfigEnabled: false, // otherwise a link could load another document
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelRendering: 'model',
  defaultModelsExpandDepth: 0,
})
