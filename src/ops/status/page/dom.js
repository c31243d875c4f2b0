/**
 * Creates an element. The page creates elements with this function alone: text becomes text nodes and never markup,
 * because ids and reasons are untrusted input.
 * @param {string} tag
 * @param {Record<string, string | ((event: Event) => void)>} properties such as `className`, `title`, `onclick`
 * @param {...(Node | string)} children
 */
export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties)
  created.append(...children)
  return created
}

/** The element with this id, which index.html must have. */
export function byId(id) {
  return document.getElementById(id)
}

/** Replaces the text only if it differs, because screen readers announce every replacement. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text
}

/** The coloured square or line of a legend; `colour` is the name of a CSS variable. */
export function swatch(colour, kind = '') {
  const created = element('span', { className: `swatch ${kind}` })
  created.style.background = `var(${colour})`
  return created
}
