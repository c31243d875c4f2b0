import type { Answer } from './answer.ts'
import { applyFilter } from './filter.ts'
import type { Stations } from './model.ts'
import { CONTENT_TYPES, renderError, renderStation } from './render.ts'
import type { Call } from './request.ts'
import { EndpointError, errorFormat, parseRequest } from './request.ts'

/** The endpoint without faults: the response to a call. */
export function endpoint(call: Call, stations: Stations): Answer {
  try {
    const { id, format, filter } = parseRequest(call)
    const station = stations(id) ?? { connectors: [], chargingAvailability: id }
    return {
      status: 200,
      headers: {
        'Content-Type': CONTENT_TYPES[format],
        'Cache-Control': 'no-cache',
        'Access-Control-Allow-Origin': '*',
        'Access-Control-Expose-Headers': 'Tracking-ID',
      },
      body: renderStation(applyFilter(station, filter), format),
    }
  } catch (error) {
    if (error instanceof EndpointError) return errorResponse(error, call)
    throw error
  }
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
