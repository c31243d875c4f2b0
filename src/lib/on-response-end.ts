import type { ServerResponse } from 'node:http'

/** Node has no event for a response that has ended and waits for its turn. */
export function onResponseEnd(response: ServerResponse, listener: () => void): void {
  const end = response.end.bind(response) as (...parts: unknown[]) => ServerResponse
  response.end = (...parts: unknown[]) => {
    end(...parts)
    listener()
    return response
  }
}
