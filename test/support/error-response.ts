/** A response of a client or of a raw socket. */
export interface ReceivedResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

export interface ExpectedError {
  readonly status: number
  readonly code: string
  /** JSON when absent. */
  readonly format?: 'json' | 'xml'
  /** The value of `Allow` of a 405; that of the proxied route when absent. */
  readonly allow?: string
}

const TRACKING_ID = /^[a-zA-Z0-9-]{1,100}$/
const XML_PROBLEM =
  /^(?:<\?xml[^>]*\?>)?<ErrorEvResponse><message>[^<]+<\/message><detailedError><code>(\w+)<\/code><message>[^<]+<\/message><\/detailedError><\/ErrorEvResponse>$/
const EXPOSED = ['age', 'cache-status', 'etag', 'retry-after', 'tracking-id']
const NOT_ON_ERRORS = ['etag', 'age', 'cache-status', 'content-encoding']

/** How a response differs from the documented error; empty if it does not. */
export function errorResponseProblems(
  answer: ReceivedResponse,
  { status, code, format = 'json', allow = 'GET, OPTIONS' }: ExpectedError,
): string[] {
  const { headers } = answer
  const contentType = String(headers['content-type'])
  const retryAfter = headers['retry-after']?.toString()
  return failedChecks({
    [`status ${answer.status} instead of ${status}`]: answer.status === status,
    [`content type ${contentType}`]: contentType === `application/${format}; charset=utf-8`,
    [`no ${code} in ${format}: ${answer.text}`]: codeIn(answer, format) === code,
    [`a header of a 200: ${NOT_ON_ERRORS.join(', ')}`]: NOT_ON_ERRORS.every(
      (name) => headers[name] === undefined,
    ),
    [`Allow ${String(headers['allow'])}`]: status !== 405 || headers['allow'] === allow,
    [`Retry-After ${retryAfter ?? 'missing'}`]: retryAfterFits(status, retryAfter),
  }).concat(commonHeaderProblems(headers))
}

/** How headers differ from those of every response of the public listener, with CORS for any origin. */
export function commonHeaderProblems(headers: ReceivedResponse['headers']): string[] {
  const trackingId = String(headers['tracking-id'])
  const exposed = list(headers['access-control-expose-headers']).toSorted().join()
  const vary = list(headers['vary'])
  return failedChecks({
    [`Tracking-ID ${trackingId}`]: TRACKING_ID.test(trackingId),
    'not readable from any origin': headers['access-control-allow-origin'] === '*',
    [`exposed ${exposed}`]: exposed === EXPOSED.join(),
    [`Vary ${vary.join()}`]: vary.includes('accept-encoding'),
    'no nosniff': headers['x-content-type-options'] === 'nosniff',
  })
}

/** The items of a list header, in lower case. */
export function list(header: string | string[] | undefined): string[] {
  return String(header ?? '')
    .toLowerCase()
    .split(',')
    .map((item) => item.trim())
}

/** The code, if the body has exactly the documented shape. */
function codeIn({ text, status }: ReceivedResponse, format: 'json' | 'xml'): string | undefined {
  if (format === 'xml') return XML_PROBLEM.exec(text)?.[1]
  try {
    const { message, detailedError, httpStatusCode, ...more } = JSON.parse(text) as Record<string, unknown>
    const { code, message: detail, ...evenMore } = detailedError as Record<string, string>
    const isComplete = Object.keys(more).length + Object.keys(evenMore).length === 0
    const isExplained =
      typeof message === 'string' && message !== '' && typeof detail === 'string' && detail !== ''
    return isComplete && isExplained && httpStatusCode === String(status) ? code : undefined
  } catch {
    return undefined
  }
}

function retryAfterFits(status: number, header: string | undefined): boolean {
  const required = status === 429 || status === 503
  return header === undefined ? !required : /^[1-9]\d*$/.test(header)
}

/** The names of the checks that are false. */
function failedChecks(checks: Record<string, boolean>): string[] {
  return Object.keys(checks).filter((name) => checks[name] !== true)
}
