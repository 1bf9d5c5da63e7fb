// @tus/server with its file store: node server.mjs FOLDER FILE_FOR_ITS_ADDRESS [bare]. Listens on a free port of the
// loopback address. A bare one does what the protocol asks and no more: what is stored it neither shows nor removes.
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [folder, address, kind] = process.argv.slice(2)
const bare = kind === 'bare'
const datastore = new FileStore({ directory: folder })
const tus = new Server({ path: '/files', datastore, disableTerminationForFinishedUploads: bare })

// Its own downloads end the process now and then with Node.js 20 ("ReadableStream is already closed").
async function show(request, response) {
  const upload = await datastore.getUpload(path.basename(request.url)).catch(() => null)
  if (bare || !upload || upload.offset !== upload.size) {
    response.writeHead(404).end()
  } else {
    response.writeHead(200, { 'Content-Length': upload.size })
    fs.createReadStream(path.join(folder, upload.id)).pipe(response)
  }
}

const server = http.createServer((request, response) =>
  request.method === 'GET' ? show(request, response) : tus.handle(request, response),
)
server.listen({ host: '127.0.0.1', port: 0 }, () => {
  fs.writeFileSync(`${address}.part`, `http://127.0.0.1:${server.address().port}`)
  fs.renameSync(`${address}.part`, address)
})
