/** Many event streams as plain sockets, so that the clients take little of the core that they share. */
import { once } from 'node:events'
import { connect } from 'node:net'

const CHANGE = /"change":(\d+)/g
/** A change may be cut by the end of a packet. */
const OVERLAP = 30
/** The service allows 20 streams of one address. */
const STREAMS_PER_ADDRESS = 20

/** Opens `count` streams of the stations that `idsOf` returns; `onChange` gets the number of each change as it arrives. */
export async function openStreams(port, count, idsOf, onChange = () => {}) {
  const streams = []
  for (let i = 0; i < count; i++) streams.push(await openStream(port, i, idsOf(i), onChange))
  return streams
}

async function openStream(port, number, ids, onChange) {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  await once(socket, 'connect')
  const query = ids.map((id) => `chargingAvailability=${id}`).join('&')
  const group = Math.floor(number / STREAMS_PER_ADDRESS)
  const address = `10.${group >> 8}.${group & 255}.1`
  socket.write(`GET /events?${query} HTTP/1.1\r\nHost: bench\r\nX-Forwarded-For: ${address}\r\n\r\n`)
  const [head] = await once(socket, 'data')
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(head.split('\r\n')[0])
  let rest = ''
  socket.on('data', (text) => {
    const whole = rest + text
    let end = 0
    for (const match of whole.matchAll(CHANGE)) {
      if (match.index + match[0].length === whole.length) break // more digits may follow
      onChange(Number(match[1]))
      end = match.index + match[0].length
    }
    rest = whole.slice(Math.max(end, whole.length - OVERLAP))
  })
  socket.on('error', () => {})
  return socket
}
