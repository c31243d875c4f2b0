/** An element: its name, its children, and its text if it has none. */
export interface Element {
  readonly name: string
  readonly children: Element[]
  text: string
}

const TAG = /^(\/?)([^\s/]+)([^]*)$/
const MAX_DEPTH = 64

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/**
 * Parses an XML document as far as the endpoint's answers need it: elements and their texts. An attribute becomes part of
 * the element's name; white space between elements does not count.
 * @returns null if the document is not well-formed
 */
export function parseXml(document: string): Element | null {
  const root: Element = { name: '', children: [], text: '' }
  const path: Element[] = [root]
  let at = 0
  while (at < document.length) {
    const parent = path.at(-1) as Element
    const end = tokenEnd(document, at)
    if (end === null) return null
    const token = document.slice(at, end)
    if (token.startsWith(CDATA)) parent.text += token.slice(CDATA.length, -3)
    else if (!token.startsWith('<')) parent.text += decodeEntities(token)
    else if (!/^<[!?]/.test(token) && !applyTag(token.slice(1, -1), path)) return null
    at = end
  }
  const [element, ...more] = root.children
  if (path.length !== 1 || element === undefined || more.length > 0 || root.text.trim() !== '') return null
  return trimmed(element)
}

const CDATA = '<![CDATA['
/** How markup begins and ends; the first that fits. */
const MARKUP = [
  ['<!--', '-->'],
  [CDATA, ']]>'],
  ['<?', '?>'],
  ['<', '>'],
] as const

/** The end of the token at this place; null if markup does not end. */
function tokenEnd(document: string, at: number): number | null {
  const markup = MARKUP.find(([begin]) => document.startsWith(begin, at))
  if (markup === undefined) {
    const next = document.indexOf('<', at)
    return next === -1 ? document.length : next
  }
  const [begin, close] = markup
  const end = document.indexOf(close, at + begin.length)
  return end === -1 ? null : end + close.length
}

/** Opens or closes an element; false if the tag does not fit. */
function applyTag(tag: string, path: Element[]): boolean {
  const [, slash, name = '', rest = ''] = TAG.exec(tag) ?? []
  if (name === '') return false
  if (slash === '/') return path.length > 1 && nameOnly(path.pop() as Element) === name
  const isEmpty = rest.endsWith('/')
  const attributes = (isEmpty ? rest.slice(0, -1) : rest).trim()
  const element = { name: attributes === '' ? name : `${name} ${attributes}`, children: [], text: '' }
  path.at(-1)?.children.push(element)
  if (!isEmpty) path.push(element)
  return path.length <= MAX_DEPTH
}

function nameOnly({ name }: Element): string {
  return name.split(' ', 1)[0] as string
}

function trimmed({ name, children, text }: Element): Element {
  if (children.length > 0) return { name, children: children.map(trimmed), text: text.trim() }
  return { name, children, text }
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-z]{1,4});/g, (reference) => {
    const name = reference.slice(1, -1)
    if (!name.startsWith('#')) return ENTITIES[name] ?? reference
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1))
    return code <= 0x10ffff ? String.fromCodePoint(code) : reference
  })
}
