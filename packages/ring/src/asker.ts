/** Who asks for something, once it is known that it is they. */
export interface VerifiedAsker {
  readonly kind: 'operator' | 'service'
  readonly name: string
}
