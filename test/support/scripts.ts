import type { Barrier, Script, UpstreamCall } from './scripted-upstream.ts'
import { answerStation } from './scripted-upstream.ts'

/** Another script for each call. */
export function perCall(choose: (call: UpstreamCall) => Script): Script {
  return (call, response, request) => choose(call)(call, response, request)
}

/** Holds every call until the barrier opens. */
export function waitFor(barrier: Barrier, script: Script = answerStation): Script {
  return async (call, response, request) => {
    await barrier.passed
    await script(call, response, request)
  }
}

/** 200 with these bytes, said to be JSON. */
export function sendBody(body: string | Buffer, headers: Record<string, string> = {}): Script {
  return (_call, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers })
    response.end(body)
  }
}

/** Takes the call and never says a word. */
export function hang(): void {}

/** Writes to the connection what is no answer of a decent server, and ends it. */
export function sendRaw(bytes: string): Script {
  return (_call, response) => {
    response.socket?.end(bytes)
  }
}
