/** What a request's target says, as text: nothing here is decoded or trusted. */

/** The target in origin form; a proxy-style absolute one (RFC 9112, 3.2.2) counts by its path alone. */
export function originForm(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  return path.startsWith('/') ? path : `/${path}`
}

/** The path that a target names, without query and fragment. */
export function pathOf(target: string): string {
  return target.split(/[?#]/, 1)[0] ?? ''
}

/**
 * The path as a log may have it: nothing of the query, for that may hold a key, nor what looks like one, for whoever
 * slips writes `&` for `?`. Empty for a target that is no path: in another form it may hold credentials.
 */
export function loggedPath(target: string): string {
  return target.startsWith('/') ? (target.split(/[?#&;=]/, 1)[0] ?? '') : ''
}
