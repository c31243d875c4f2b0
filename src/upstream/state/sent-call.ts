/** A call that was sent. */
export interface SentCall {
  /** The call has arrived at upstream. */
  readonly arrived: () => void
}
