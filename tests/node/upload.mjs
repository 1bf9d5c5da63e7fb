// Uploads a file with tus-js-client. The order comes as JSON in the first argument, what came of it goes to standard
// output as JSON; tests/support/tus_clients.py describes both.
import fs from 'node:fs'
import { PassThrough } from 'node:stream'
import { FileUrlStorage, Upload } from 'tus-js-client'

const order = JSON.parse(process.argv[2])
const told = { url: null, resumed: null, status: null, error: null }

const options = {
  endpoint: order.endpoint,
  headers: order.headers,
  metadata: order.metadata,
  retryDelays: Array(order.retries).fill(200),
  uploadLengthDeferred: order.deferred,
  uploadDataDuringCreation: order.with_creation,
  onBeforeRequest: (request) => {
    if (told.resumed === null && request.getMethod() === 'PATCH') {
      told.resumed = Number(request.getHeader('Upload-Offset'))
    }
  },
}
if (order.chunk) {
  options.chunkSize = order.chunk
}
if (order.storage) {
  options.urlStorage = new FileUrlStorage(order.storage)
}

// Of a file the client asks for the size itself, and then takes no notice of where it ends; of a stream it cannot.
const file = fs.createReadStream(order.file)
const source = order.deferred ? file.pipe(new PassThrough()) : file

await new Promise((resolve) => {
  const end = (error) => {
    told.url = upload.url
    told.status = error?.originalResponse?.getStatus() ?? null
    told.error = error ? error.message : null
    resolve()
  }
  const upload = new Upload(source, {
    ...options,
    onError: end,
    onSuccess: () => end(null),
    onChunkComplete: (size, accepted) => {
      if (order.terminate_after && accepted >= order.terminate_after) {
        upload.abort(true).then(() => end(null), end)
      }
    },
  })
  upload.findPreviousUploads().then((previous) => {
    if (previous.length > 0) {
      upload.resumeFromPreviousUpload(previous[0])
    }
    upload.start()
  }, end)
})
file.destroy()
console.log(JSON.stringify(told))
