/** All bytes of a body. @throws What `tooLong` makes, as soon as it has more than `bytesMax`. */
export async function bodyWithin(body: AsyncIterable<unknown>, bytesMax: number, tooLong: () => Error): Promise<Buffer> {
  const chunks: Buffer[] = []
  let held = 0
  for await (const chunk of body) {
    held += (chunk as Buffer).length
    if (held > bytesMax) throw tooLong()
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}
