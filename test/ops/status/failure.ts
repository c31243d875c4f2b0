import type { RequestFailure } from '../../../src/events.ts'

/** A failed request; the members of `more` replace the defaults. */
export const failure = (trackingId: string, more: Partial<RequestFailure> = {}): RequestFailure => ({
  trackingId,
  code: 'UpstreamFailed',
  status: 502,
  reason: 'upstream answered 500',
  cause: undefined,
  ...more,
})
