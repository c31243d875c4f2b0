/** Parts of a request target, as text: nothing here is decoded or trusted. */

/** The target in origin form, without a fragment; of an absolute one (RFC 9112, 3.2.2) only path and query are used. */
export function originForm(target: string): string {
  const fragment = target.indexOf('#')
  const path = (fragment === -1 ? target : target.slice(0, fragment)).replace(/^https?:\/\/[^/?#]*/i, '')
  return path.startsWith('/') ? path : `/${path}`
}

/** The target's path, without query and fragment. */
export function pathOf(target: string): string {
  return target.split(/[?#]/, 1)[0] ?? ''
}

/**
 * The path as it may be logged: without the query, which may contain a key, and without anything that looks like one,
 * because a client may write `&` for `?`. Empty for a target that is not a path: another form may contain credentials.
 */
export function loggedPath(target: string): string {
  return target.startsWith('/') ? (target.split(/[?#&;=]/, 1)[0] ?? '') : ''
}
