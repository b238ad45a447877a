/**
 * A socket and whoever listens to it now. Bytes are read into one buffer that all sockets share, so that a read costs no
 * allocation; who wants to keep them copies them. The listeners are shared too: an idle connection holds no closures.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'

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

/** For the options of a socket that will have a wire. */
export const READ_INTO_SHARED: OnReadOpts = {
  buffer: shared,
  callback: function (this: WiredSocket, count: number): boolean {
    this[WIRE]?.handler.onBytes(shared.subarray(0, count))
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

export class Wire {
  readonly socket: Socket
  handler: WireHandler
  /** Text that waits for `flush`: a head and a small body leave in one write. */
  #out = ''

  /** @param streams Whether the socket gives its bytes by 'data', because it was made without `READ_INTO_SHARED`. */
  constructor(socket: Socket, handler: WireHandler, streams: boolean) {
    this.socket = socket
    this.handler = handler
    ;(socket as WiredSocket)[WIRE] = this
    if (streams) socket.on('data', onData)
    socket.on('drain', onDrain)
    socket.on('end', onEnd)
    // 'close' follows every error and says the rest.
    socket.on('error', ignore)
    socket.on('close', onClose)
  }

  get usable(): boolean {
    return !this.socket.destroyed && this.socket.writable
  }

  /** Latin-1 text, to be written by `flush`. */
  text(text: string): void {
    this.#out += text
  }

  /** Bytes after all text so far; copied. Small ones wait for `flush`, too. */
  bytes(bytes: Buffer): void {
    if (this.#out.length + bytes.length <= TEXT_BYTES_MAX) {
      this.#out += bytes.toString('latin1')
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
    socket.cork()
    this.#write(out)
    socket.write(copy)
    socket.uncork()
  }

  /** Writes what waits. Returns whether there is room for more; `onDrain` follows when not. */
  flush(): boolean {
    const { socket } = this
    if (this.#out !== '') {
      const out = this.#out
      this.#out = ''
      if (this.usable) return this.#write(out)
    }
    return !socket.writableNeedDrain
  }

  /** The TLS engine copies texts more often than bytes. */
  #write(text: string): boolean {
    const { socket } = this
    return 'encrypted' in socket ? socket.write(Buffer.from(text, 'latin1')) : socket.write(text, 'latin1')
  }

  /** Writes what waits and ends our half. */
  end(): void {
    this.flush()
    if (this.usable) this.socket.end()
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  destroy(): void {
    this.#out = ''
    this.socket.destroy()
  }
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
