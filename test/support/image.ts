import { TURN_WATCH } from './turn-watch.ts'

/** The options of Node.js in the image. */
export const IMAGE_HEAP = '--enable-source-maps --max-old-space-size=64 --max-semi-space-size=2'
/** A process with the heap and the cache of the image, whose turns of the event loop are watched. */
export const IMAGE_SETTINGS = {
  NODE_OPTIONS: `${IMAGE_HEAP} ${TURN_WATCH}`,
  CACHE_MAX_BYTES: '16MB',
  TOMTOM_API_KEY: 'test-key-0123456789abcdef',
  HOST: '127.0.0.1',
  PORT: '0',
  ADMIN_PORT: '0',
  UPSTREAM_MAX_QPS: '0',
}
/** The memory of the image's container. */
export const MAX_MB = 128
/** How long the event loop may keep a probe waiting. */
export const MAX_TURN_MS = 100
