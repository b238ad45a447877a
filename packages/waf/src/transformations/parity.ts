/** `t:parityEven7bit`, `t:parityOdd7bit`, `t:parityZero7bit`: the eighth bit of each byte becomes its parity bit, or 0. */
export function parityEven7bit(text: string): string {
  return withParity(text, (odd) => (odd ? 0x80 : 0))
}

export function parityOdd7bit(text: string): string {
  return withParity(text, (odd) => (odd ? 0 : 0x80))
}

export function parityZero7bit(text: string): string {
  return withParity(text, () => 0)
}

function withParity(text: string, bit: (odd: boolean) => number): string {
  let out = ''
  for (let i = 0; i < text.length; i += 1) {
    const low = text.charCodeAt(i) & 0x7f
    let ones = low ^ (low >> 4)
    ones ^= ones >> 2
    ones ^= ones >> 1
    out += String.fromCharCode(low | bit((ones & 1) === 1))
  }
  return out
}
