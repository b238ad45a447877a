import type { OperatorFactory } from './operator.ts'
import { compilePattern } from './rx.ts'

/** Matches tried in one value. */
const CANDIDATES_MAX = 200

/**
 * `@verifyCC`, `@verifyCPF`, `@verifySSN`, `@verifySVNR`: something that the pattern finds is a number with the right check
 * digits. Sources: ISO/IEC 7812-1 annex B (Luhn); Receita Federal, CPF; SSA, invalid Social Security numbers; the Austrian
 * social insurance number's weights.
 */
export const verifyCc: OperatorFactory = verifying(isCardNumber)
export const verifyCpf: OperatorFactory = verifying(isCpf)
export const verifySsn: OperatorFactory = verifying(isSsn)
export const verifySvnr: OperatorFactory = verifying(isSvnr)

function verifying(test: (digits: readonly number[]) => boolean): OperatorFactory {
  return ({ text: source }) => {
    const { regex, literals } = compilePattern(source)
    const all = new RegExp(regex.source, 'g')
    return {
      literals,
      matches(text, context) {
        context.work += text.length
        all.lastIndex = 0
        for (let tried = 0; tried < CANDIDATES_MAX; tried += 1) {
          const found = all.exec(text)
          if (found === null) return false
          if (found[0] === '') all.lastIndex += 1
          const digits = Array.from(found[0].replace(/\D+/g, ''), Number)
          if (!test(digits)) continue
          if (context.capturing) context.capture(0, found[0])
          return true
        }
        return false
      },
    }
  }
}

function isCardNumber(digits: readonly number[]): boolean {
  if (digits.length < 12 || digits.length > 19) return false
  let sum = 0
  for (let i = 0; i < digits.length; i += 1) {
    const digit = digits[digits.length - 1 - i]!
    sum += i % 2 === 0 ? digit : digit * 2 - (digit > 4 ? 9 : 0)
  }
  return sum % 10 === 0
}

function isCpf(digits: readonly number[]): boolean {
  if (digits.length !== 11 || digits.every((digit) => digit === digits[0])) return false
  const check = (count: number): number => {
    let sum = 0
    for (let i = 0; i < count; i += 1) sum += digits[i]! * (count + 1 - i)
    const rest = (sum * 10) % 11
    return rest === 10 ? 0 : rest
  }
  return check(9) === digits[9] && check(10) === digits[10]
}

function isSsn(digits: readonly number[]): boolean {
  if (digits.length !== 9) return false
  const number = (from: number, to: number): number => Number(digits.slice(from, to).join(''))
  const area = number(0, 3)
  return area > 0 && area !== 666 && area < 900 && number(3, 5) > 0 && number(5, 9) > 0
}

function isSvnr(digits: readonly number[]): boolean {
  if (digits.length !== 10) return false
  const weights = [3, 7, 9, 0, 5, 8, 4, 2, 1, 6]
  const sum = weights.reduce((total, weight, i) => total + weight * digits[i]!, 0)
  return sum % 11 === digits[3]
}
