import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request } from 'node:http'
import type { Test } from 'tap'
import { until } from './until.ts'

export interface ReceivedEvent {
  readonly event: string
  readonly id: string
  readonly data: Record<string, unknown>
}

/** An open event stream; `raw` is everything received. */
export interface OpenedStream {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly events: readonly ReceivedEvent[]
  readonly raw: () => string
  readonly hasEnded: () => boolean
  readonly message: IncomingMessage
  /** Resolves once that number of events has arrived. */
  readonly received: (count: number) => Promise<readonly ReceivedEvent[]>
  readonly close: () => void
}

/** Opens an event stream and closes it with the test. */
export function openStream(
  t: Test,
  url: string,
  query: string,
  headers: Record<string, string> = {},
): Promise<OpenedStream> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}/events?${query}`, { headers, agent: false })
    outgoing.on('error', reject)
    outgoing.on('response', (message) => {
      const events: ReceivedEvent[] = []
      let text = ''
      let parsed = 0
      let ended = false
      message.setEncoding('utf8')
      message.on('data', (chunk: string) => {
        text += chunk
        for (let end = text.indexOf('\n\n', parsed); end !== -1; end = text.indexOf('\n\n', parsed)) {
          const event = parseEvent(text.slice(parsed, end))
          if (event !== null) events.push(event)
          parsed = end + 2
        }
      })
      message.on('close', () => {
        ended = true
      })
      message.on('error', () => {})
      const received = async (count: number) => {
        await until(`${count} events`, () => events.length >= count, 25_000)
        return events
      }
      const close = () => outgoing.destroy()
      t.teardown(close)
      const { statusCode: status = 0, headers: fields } = message
      resolve({
        status,
        headers: fields,
        events,
        message,
        received,
        close,
        raw: () => text,
        hasEnded: () => ended,
      })
    })
    outgoing.end()
  })
}

function parseEvent(block: string): ReceivedEvent | null {
  const fields = new Map(
    block.split('\n').map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')] as const
    }),
  )
  const data = fields.get('data')
  if (data === undefined) return null
  return {
    event: fields.get('event') ?? 'message',
    id: fields.get('id') ?? '',
    data: JSON.parse(data) as Record<string, unknown>,
  }
}
