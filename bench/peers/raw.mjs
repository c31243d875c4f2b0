/** The most that Node's own server can do: a fixed body with as many headers as the proxy sends. */
import { createServer } from 'node:http'
import { gzipped, headers, plain } from './fixed-answer.mjs'

createServer({ keepAliveTimeout: 72_000 }, (request, response) => {
  if (request.headers['if-none-match'] !== undefined) {
    response.writeHead(304, headers).end()
  } else if (request.headers['accept-encoding'] === 'gzip') {
    response
      .writeHead(200, { ...headers, 'content-encoding': 'gzip', 'content-length': gzipped.length })
      .end(gzipped)
  } else {
    response.writeHead(200, { ...headers, 'content-length': plain.length }).end(plain)
  }
}).listen(Number(process.env.PORT), '127.0.0.1')
