import type { Answer } from './answer.ts'
import type { Deviations } from './deviations.ts'
import { applyFilter } from './filter.ts'
import type { StationBody, Stations } from './model.ts'
import { CONTENT_TYPES, renderError, renderStation } from './render.ts'
import type { Call } from './request.ts'
import { EndpointError, errorFormat, parseRequest } from './request.ts'

/** The endpoint without faults: the response to a call. */
export function endpoint(call: Call, stations: Stations): Answer {
  try {
    const { id, format, filter } = parseRequest(call)
    const { deviations } = call
    const known = stations(id)
    if (known === null && deviations.has('unknown-id-404')) {
      throw new EndpointError(404, 'NotFound', 'Resource not found')
    }
    const station = known ?? { connectors: [], chargingAvailability: id }
    const filtered = applyFilter(
      deviations.has('miscounted') ? miscounted(station) : station,
      filter,
      deviations,
    )
    return {
      status: 200,
      headers: { 'Content-Type': CONTENT_TYPES[format], ...answerHeaders(deviations) },
      body: renderStation(filtered, format, deviations),
    }
  } catch (error) {
    if (error instanceof EndpointError) return errorResponse(error, call)
    throw error
  }
}

function answerHeaders(deviations: Deviations): Record<string, string> {
  return {
    'Cache-Control': deviations.has('cacheable') ? 'max-age=60' : 'no-cache',
    ...(deviations.has('etag') && { ETag: '"1"' }),
    ...(!deviations.has('no-cors') && {
      'Access-Control-Allow-Origin': '*',
      'Access-Control-Expose-Headers': 'Tracking-ID',
    }),
  }
}

function miscounted(station: StationBody): StationBody {
  const connectors = station.connectors.map((one) => ({ ...one, total: Number(one['total']) + 1 }))
  return { ...station, connectors }
}

/** Without `Access-Control-Allow-Origin`, as upstream: a web page cannot read errors. */
function errorResponse(error: EndpointError, call: Call): Answer {
  const format = errorFormat(call)
  return {
    status: error.status,
    headers: {
      'Content-Type': CONTENT_TYPES[format],
      ...(error.status === 405 && { Allow: 'GET' }),
    },
    body: renderError(error, format),
  }
}
