// Checks the registry's signatures of all installed packages: npm run audit:signatures
// An invalid or missing signature fails. A registry without signatures, or unreachable signing keys (a mirror, a closed
// network), are reported and pass.
import { execFile } from 'node:child_process'
import { pathToFileURL } from 'node:url'

const UNREACHABLE = new Set([
  'E404',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENETUNREACH',
  'ENOTFOUND',
  'ERR_SOCKET_TIMEOUT',
  'ETIMEDOUT',
])
const NOT_SERVED = /installed from a supported registry/

/** The result of `npm audit signatures --json`: `verified`, `unknown` or `bad`, and a line of text. */
export function judge(stdout) {
  let report
  try {
    report = JSON.parse(stdout)
  } catch {
    return { verdict: 'bad', text: `npm gave no report: ${stdout.slice(0, 200)}` }
  }
  const { error, invalid, missing } = report
  if (Array.isArray(invalid) && Array.isArray(missing)) {
    const names = [...invalid, ...missing].map(({ name, version }) => `${name}@${version}`)
    return names.length === 0
      ? { verdict: 'verified', text: 'every signature is valid' }
      : {
          verdict: 'bad',
          text: `${invalid.length} invalid and ${missing.length} missing signatures: ${names.join(', ')}`,
        }
  }
  const text = `${error?.code ?? 'no code'}: ${error?.summary ?? 'no summary'}`
  const isUnknown = UNREACHABLE.has(error?.code) || NOT_SERVED.test(error?.summary)
  return isUnknown
    ? { verdict: 'unknown', text: `NOT CHECKED, the signing keys are not served here. ${text}` }
    : { verdict: 'bad', text }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const args = ['audit', 'signatures', '--json', '--fetch-retries=0', '--fetch-timeout=60000']
  execFile('npm', args, { maxBuffer: 2 ** 26, timeout: 300_000 }, (_error, stdout) => {
    const { verdict, text } = judge(stdout)
    console.log(`${verdict}: ${text}`)
    process.exitCode = verdict === 'bad' ? 1 : 0
  })
}
