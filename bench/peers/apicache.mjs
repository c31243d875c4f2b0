/** Express with apicache in front of a handler that forwards; what it keeps is keyed by the URL. */
import apicache from 'apicache'
import express from 'express'
import { Pool } from 'undici'

const upstream = new Pool(process.env.UPSTREAM, { connections: 64 })
const app = express().disable('x-powered-by')
const isOk = (_request, response) => response.statusCode === 200
apicache.options({ headers: { 'cache-control': 'no-cache' } })

app.get(
  '/search/2/:resource',
  apicache.middleware(`${process.env.TTL_SECONDS} seconds`, isOk),
  async (request, response) => {
    const answer = await upstream.request({ method: 'GET', path: request.originalUrl })
    response.status(answer.statusCode).set('content-type', answer.headers['content-type'])
    response.send(Buffer.from(await answer.body.arrayBuffer()))
  },
)
app.listen(Number(process.env.PORT), '127.0.0.1').keepAliveTimeout = 72_000
