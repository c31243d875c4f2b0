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

/** No route begins with it: the path of requests outside of the base path. */
const OUTSIDE = '/.outside'
/** Answered with and without the base path, because probes of an ingress or a platform do not know it. */
const HEALTH = /^\/healthz(?=[?#]|$)/

/**
 * A function that removes the base path from a target in origin form, so that routes do not depend on it. A target
 * outside of it becomes one that no route matches; its extension, which determines the format of errors, stays.
 */
export function withoutBasePath(basePath: string): (target: string) => string {
  if (basePath === '') return (target) => target
  return (target) => {
    if (target.startsWith(`${basePath}/`)) return target.slice(basePath.length)
    return HEALTH.test(target) ? target : `${OUTSIDE}${target}`
  }
}
