import type { Barrier, Script, UpstreamCall } from './scripted-upstream.ts'
import { answerStation } from './scripted-upstream.ts'

/** Selects a script for each call. */
export function perCall(choose: (call: UpstreamCall) => Script): Script {
  return (call, response, request) => choose(call)(call, response, request)
}

/** Delays every call until the barrier opens. */
export function waitFor(barrier: Barrier, script: Script = answerStation): Script {
  return async (call, response, request) => {
    await barrier.passed
    await script(call, response, request)
  }
}

/** 200 with these bytes as application/json. */
export function sendBody(body: string | Buffer, headers: Record<string, string> = {}): Script {
  return (_call, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers })
    response.end(body)
  }
}

/** Receives the call and never answers. */
export function hang(): void {}

/** Writes these bytes to the connection and ends it. */
export function sendRaw(bytes: string): Script {
  return (_call, response) => {
    response.socket?.end(bytes)
  }
}
