/** Files of undici that are imported by themselves: its index brings fetch, WebSocket and mocks, 60 ms of every start. */
declare module 'undici/lib/dispatcher/pool.js' {
  export { Pool as default } from 'undici'
}

declare module 'undici/lib/core/errors.js' {
  import { errors } from 'undici'
  export default errors
}
