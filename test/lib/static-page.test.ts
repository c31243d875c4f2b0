import t from 'tap'
import { MIME_TYPES, selfOnlyCsp } from '../../src/lib/static-page.ts'

await t.test('the policy allows files of the same origin only', async (t) => {
  const policy = selfOnlyCsp({ images: "'self'" })
  const directives = Object.fromEntries(
    policy.split('; ').map((directive) => {
      const [name = '', ...sources] = directive.split(' ')
      return [name, sources.join(' ')]
    }),
  )
  t.strictSame(directives, {
    'default-src': "'none'",
    'script-src': "'self'",
    'style-src': "'self'",
    'img-src': "'self'",
    'connect-src': "'self'",
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
  })
})

await t.test('the policy allows data URLs for images only where a page needs them', async (t) => {
  const policy = selfOnlyCsp({ images: "'self' data:" })
  t.match(policy, /img-src 'self' data:;/)
  t.notMatch(policy.replace(/img-src [^;]*;/, ''), /data:|unsafe|\*/)
})

await t.test('text files of a page are UTF-8', async (t) => {
  const withoutCharset = Object.entries(MIME_TYPES).filter(([, type]) => !type.includes('charset=utf-8'))
  t.strictSame(
    withoutCharset.map(([extension]) => extension),
    ['svg'],
  )
})
