import type { Answer } from './answer.ts'
import { restrict } from './filter.ts'
import type { Stations } from './model.ts'
import { CONTENT_TYPES, renderRefusal, renderStation } from './render.ts'
import type { Call } from './request.ts'
import { Refusal, errorFormat, questionOf } from './request.ts'

/** The endpoint at its best: every call answered at once, and rightly. */
export function endpoint(call: Call, stations: Stations): Answer {
  try {
    const { id, format, filter } = questionOf(call)
    const station = stations(id) ?? { connectors: [], chargingAvailability: id }
    return {
      status: 200,
      headers: {
        'Content-Type': CONTENT_TYPES[format],
        'Cache-Control': 'no-cache',
        'Access-Control-Allow-Origin': '*',
        'Access-Control-Expose-Headers': 'Tracking-ID',
      },
      body: renderStation(restrict(station, filter), format),
    }
  } catch (error) {
    if (error instanceof Refusal) return refuse(error, call)
    throw error
  }
}

/** As in real life without `Access-Control-Allow-Origin`: a page learns nothing of an error. */
function refuse(refusal: Refusal, call: Call): Answer {
  const format = errorFormat(call)
  return {
    status: refusal.status,
    headers: {
      'Content-Type': CONTENT_TYPES[format],
      ...(refusal.status === 405 && { Allow: 'GET' }),
    },
    body: renderRefusal(refusal, format),
  }
}
