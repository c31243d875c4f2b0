/**
 * The only way in which this page makes elements: text becomes text nodes, never markup, for ids and reasons come
 * from strangers.
 * @param {string} tag
 * @param {Record<string, string | ((event: Event) => void)>} properties such as `className`, `title`, `onclick`
 * @param {...(Node | string)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

/** The element with this id; the page's own markup has it. */
export function byId(id) {
  return document.getElementById(id)
}

/** Replaces the text, and only if it differs: screen readers announce what is touched. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text
}

/** A coloured square, or a line, as a legend shows it; `colour` is the name of a CSS variable. */
export function swatch(colour, kind = '') {
  const made = element('span', { className: `swatch ${kind}` })
  made.style.background = `var(${colour})`
  return made
}
