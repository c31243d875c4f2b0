// The renderer has a dark side, and leaves the choice to the page: the reader's system decides.
const dark = matchMedia('(prefers-color-scheme: dark)')
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', follow)
follow()

globalThis.SwaggerUIBundle({
  url: 'openapi.yaml',
  domNode: document.querySelector('#reference'),
  validatorUrl: null, // it would tell a stranger's server of this document
  queryConfigEnabled: false, // a link could name another document
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelRendering: 'model',
  defaultModelsExpandDepth: 0,
})
