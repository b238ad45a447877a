/** What is used of libsodium in WebAssembly, without its wrappers: C functions that take places in its memory and return 0, or -1. */
declare module 'libsodium-sumo' {
  export interface Sodium {
    /** Another one whenever the memory has grown. */
    readonly HEAPU8: Uint8Array
    _malloc(bytes: number): number
    /** 1 or 0. */
    _crypto_core_ed25519_is_valid_point(point: number): number
    _crypto_core_ed25519_add(out: number, a: number, b: number): number
    _crypto_core_ed25519_sub(out: number, a: number, b: number): number
    _crypto_scalarmult_ed25519_noclamp(out: number, scalar: number, point: number): number
    _crypto_scalarmult_ed25519_base_noclamp(out: number, scalar: number): number
    /** 1 or 0. */
    _crypto_core_ristretto255_is_valid_point(point: number): number
    _crypto_core_ristretto255_add(out: number, a: number, b: number): number
    _crypto_core_ristretto255_sub(out: number, a: number, b: number): number
    _crypto_scalarmult_ristretto255(out: number, scalar: number, point: number): number
    _crypto_scalarmult_ristretto255_base(out: number, scalar: number): number
  }
  /** Compiles and instantiates it anew each time. */
  export default function load(): Promise<Sodium>
}
