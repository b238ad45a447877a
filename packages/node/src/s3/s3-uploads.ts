/** Multipart uploads that this node began and has not ended. They end with it, and after a day; what they left on disks, scrubbing removes. */
import { randomBytes } from 'node:crypto'
import type { StoredBlob } from '../objects/blob-writer.ts'
import type { Draft, PutSettings } from '../objects/object-service.ts'
import { S3Error } from './s3-error.ts'

const UPLOADS_MAX = 1_000
const UPLOAD_MS_MAX = 86_400_000

export interface UploadedPart {
  readonly blob: StoredBlob
  /** MD5, hex. */
  readonly etag: string
  readonly atMs: number
}

export interface Upload {
  readonly id: string
  readonly draft: Draft
  readonly identity: string
  readonly settings: Omit<PutSettings, 'etag' | 'expect'>
  readonly parts: Map<number, UploadedPart>
  readonly atMs: number
}

export class Uploads {
  readonly #self: string
  readonly #held = new Map<string, Upload>()

  constructor(self: string) {
    this.#self = self
  }

  begin(draft: Draft, identity: string, settings: Upload['settings'], nowMs: number): Upload {
    for (const [id, { atMs }] of this.#held) if (nowMs - atMs > UPLOAD_MS_MAX) this.end(id)
    if (this.#held.size >= UPLOADS_MAX)
      throw new S3Error('SlowDown', `${UPLOADS_MAX} uploads are under way here: end some of them`)
    const id = `${this.#self}.${randomBytes(16).toString('hex')}`
    const upload = { id, draft, identity, settings, parts: new Map(), atMs: nowMs }
    this.#held.set(id, upload)
    return upload
  }

  /** @throws {S3Error} */
  get(id: string, bucket: string, key: string, identity: string): Upload {
    if (Date.now() - (this.#held.get(id)?.atMs ?? 0) > UPLOAD_MS_MAX) this.end(id)
    const upload = this.#held.get(id)
    if (upload !== undefined && upload.draft.bucket.name === bucket && upload.draft.key === key && upload.identity === identity)
      return upload
    const node = id.slice(0, id.indexOf('.'))
    const where =
      node !== this.#self && /^[a-z0-9-]{1,32}$/.test(node) ? `: it was begun by way of ${node}, which takes its parts` : ''
    throw new S3Error('NoSuchUpload', `there is no such upload here${where}`)
  }

  of(bucket: string, identity: string): readonly Upload[] {
    return [...this.#held.values()]
      .filter(({ draft, identity: by }) => draft.bucket.name === bucket && by === identity)
      .sort((a, b) => (a.draft.key < b.draft.key ? -1 : a.draft.key > b.draft.key ? 1 : a.id < b.id ? -1 : 1))
  }

  end(id: string): void {
    this.#held.get(id)?.draft.objectKey.fill(0)
    this.#held.delete(id)
  }
}
