/**
 * A socket and whoever listens to it now. Bytes are read into one buffer that all sockets share, so that a read costs no
 * allocation; who wants to keep them copies them. The listeners are shared too: an idle connection holds no closures.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { latin1 } from './latin1.ts'

export interface WireHandler {
  /** The bytes are overwritten once this returns. */
  onBytes(bytes: Buffer): void
  /** What was written has gone to the kernel, after `write` returned false. */
  onDrain(): void
  /** The other side will send no more. */
  onHalfClose(): void
  onClose(): void
}

const WIRE = Symbol('wire')
type WiredSocket = Socket & { [WIRE]?: Wire }

const READ_BYTES_MAX = 65_536
const shared = Buffer.allocUnsafeSlow(READ_BYTES_MAX)

/** Reads up to this long find their view of the buffer made already: most are short, and lengths repeat. */
const VIEW_BYTES_MAX = 4_096
const views: (Buffer | undefined)[] = new Array<Buffer | undefined>(VIEW_BYTES_MAX + 1).fill(undefined)

function viewOf(count: number): Buffer {
  if (count > VIEW_BYTES_MAX) return shared.subarray(0, count)
  return (views[count] ??= shared.subarray(0, count))
}

/** For the options of a socket that will have a wire. */
export const READ_INTO_SHARED: OnReadOpts = {
  buffer: shared,
  callback: function (this: WiredSocket, count: number): boolean {
    this[WIRE]?.handler.onBytes(viewOf(count))
    return true
  } as OnReadOpts['callback'],
}

/**
 * The same connection behind a socket that reads into the shared buffer, which `net.Server` does not offer: it takes the
 * handle over. For sockets of a server with `pauseOnConnect`. Undefined when the socket has none to give: it streams then.
 */
export function readingIntoShared(socket: Socket): Socket | undefined {
  const holder = socket as unknown as { _handle?: object | null }
  const handle = holder._handle
  if (handle === undefined || handle === null) return undefined
  holder._handle = null
  const options = { handle, onread: READ_INTO_SHARED, allowHalfOpen: true, readable: true, writable: true }
  const own = new Socket(options as SocketConstructorOpts)
  // Empty by now; this ends the server's account of it.
  socket.destroy()
  return own
}

/** Texts up to this long take the kernel's fast way out, without a buffer of their own. */
const TEXT_BYTES_MAX = 16_384
/** Of text that the kernel did not take at once: past it, there is no room for more. */
const PENDING_BYTES_MAX = 16_384

export class Wire {
  readonly socket: Socket
  handler: WireHandler
  /** Text that waits for `flush`: a head and a small body leave in one write. */
  #out = ''
  /** Of a bare socket, where texts are written past the stream. */
  readonly #handle: TextHandle | undefined
  /** How much of it leaves at the end of this turn. */
  #due = 0
  /** Bytes written so that the kernel has not taken yet. */
  #pendingBytes = 0

  /** @param streams Whether the socket gives its bytes by 'data', because it was made without `READ_INTO_SHARED`. */
  constructor(socket: Socket, handler: WireHandler, streams: boolean) {
    this.socket = socket
    this.handler = handler
    this.#handle = textHandle(socket)
    ;(socket as WiredSocket)[WIRE] = this
    if (streams) socket.on('data', onData)
    socket.on('drain', onDrain)
    socket.on('end', onEnd)
    // 'close' follows every error and says the rest.
    socket.on('error', ignore)
    socket.on('close', onClose)
  }

  get usable(): boolean {
    return this.socket.writable
  }

  /** Latin-1 text, to be written by `flush`. */
  text(text: string): void {
    this.#out += text
  }

  /** Bytes after all text so far; copied. Small ones wait for `flush`, too. */
  bytes(bytes: Buffer): void {
    if (this.#out.length + bytes.length <= TEXT_BYTES_MAX) {
      this.#out += latin1(bytes, 0, bytes.length)
      return
    }
    const { socket } = this
    if (!this.usable) return
    const copy = Buffer.from(bytes)
    if (this.#out === '') {
      socket.write(copy)
      return
    }
    const out = this.#out
    this.#out = ''
    this.#due = 0
    socket.cork()
    this.#write(out)
    socket.write(copy)
    socket.uncork()
  }

  /**
   * Writes what waits, at the end of this turn of the event loop: who was spoken to by many is woken once. Returns whether there is
   * room for more; `onDrain` follows when not.
   */
  flush(): boolean {
    const { socket } = this
    if (this.#out !== '') {
      if (socket.writableLength > 0 || this.#out.length > TEXT_BYTES_MAX) return this.#writeOut()
      if (this.#due === 0) {
        if (due.length === 0) setImmediate(writeDue)
        due.push(this)
      }
      this.#due = this.#out.length
    }
    return this.#pendingBytes <= PENDING_BYTES_MAX && !socket.writableNeedDrain
  }

  /** Now. */
  #writeOut(): boolean {
    const out = this.#out
    this.#out = ''
    this.#due = 0
    const { socket } = this
    if (this.#handle !== undefined && socket.writableLength === 0) return this.#writePast(this.#handle, out)
    if (this.usable) return this.#write(out)
    return true
  }

  /** The end of the turn. */
  writeDue(): void {
    if (this.#due > 0) this.#writeOut()
  }

  /** The TLS engine copies texts more often than bytes. */
  #write(text: string): boolean {
    const { socket } = this
    return 'encrypted' in socket ? socket.write(Buffer.from(text, 'latin1')) : socket.write(text, 'latin1')
  }

  /** To the kernel at once, which nearly always takes all of it: what the stream keeps account of is not needed then. */
  #writePast(handle: TextHandle, text: string): boolean {
    const { socket } = this
    if ((socket as unknown as { _handle: unknown })._handle !== handle || !socket.writable) return true
    const failure = handle.writeLatin1String(request, text)
    if (failure !== 0) {
      socket.destroy()
      return true
    }
    if (streams!.streamBaseState[streams!.kLastWriteWasAsync] !== 0) this.#await(text.length)
    return this.#pendingBytes <= PENDING_BYTES_MAX
  }

  /** The kernel takes the rest when there is room; what is written meanwhile queues up behind it. */
  #await(length: number): void {
    const pending = request
    request = new streams!.WriteWrap()
    this.#pendingBytes += length
    pending.oncomplete = (status: number): void => {
      const full = this.#pendingBytes > PENDING_BYTES_MAX
      this.#pendingBytes -= length
      if (status < 0) this.socket.destroy()
      else if (full && this.#pendingBytes <= PENDING_BYTES_MAX && !this.socket.writableNeedDrain) this.handler.onDrain()
    }
  }

  /** Writes what waits and ends our half. */
  end(): void {
    if (this.#out !== '') this.#writeOut()
    if (this.usable) this.socket.end()
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  destroy(): void {
    if (this.#due > 0) {
      this.#out = this.#out.slice(0, this.#due)
      this.#writeOut()
    }
    this.#out = ''
    this.socket.destroy()
  }
}

/** Wires that write at the end of this turn. */
let due: Wire[] = []
let written: Wire[] = []

function writeDue(): void {
  const wires = due
  due = written
  for (const wire of wires) {
    try {
      wire.writeDue()
    } catch {
      // One that cannot be written to must not keep the others waiting.
      wire.socket.destroy()
    }
  }
  wires.length = 0
  written = wires
}

/** What a write is known by until the kernel has taken all of it. */
interface WriteRequest {
  oncomplete?: (status: number) => void
}

/** What Node's streams are made of. */
interface Streams {
  readonly WriteWrap: new () => WriteRequest
  readonly streamBaseState: Int32Array
  readonly kLastWriteWasAsync: number
}

interface TextHandle {
  writeLatin1String(request: WriteRequest, text: string): number
}

/** Undefined where the runtime shows none: everything goes through the stream then. */
const streams = ((): Streams | undefined => {
  try {
    const found = (process as unknown as { binding(name: string): Partial<Streams> }).binding('stream_wrap')
    const whole = typeof found.WriteWrap === 'function' && found.streamBaseState instanceof Int32Array
    return whole && typeof found.kLastWriteWasAsync === 'number' ? (found as Streams) : undefined
  } catch {
    return undefined
  }
})()

/** For the next write; a write that the kernel takes at once leaves it unused. */
let request: WriteRequest = streams === undefined ? {} : new streams.WriteWrap()

function textHandle(socket: Socket): TextHandle | undefined {
  const { _handle: handle } = socket as unknown as { _handle?: Partial<TextHandle> | null }
  if (streams === undefined || 'encrypted' in socket || typeof handle?.writeLatin1String !== 'function') return undefined
  return handle as TextHandle
}

function onData(this: WiredSocket, bytes: Buffer): void {
  this[WIRE]!.handler.onBytes(bytes)
}

function onDrain(this: WiredSocket): void {
  this[WIRE]!.handler.onDrain()
}

function onEnd(this: WiredSocket): void {
  this[WIRE]!.handler.onHalfClose()
}

function onClose(this: WiredSocket): void {
  this[WIRE]!.handler.onClose()
}

function ignore(): void {}
