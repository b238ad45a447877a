/** The meter of who asks how much, as a proxy has it: what it reads is handed on. */
import { FloodMeter, type FloodReading } from '@ringwall/detect'
import type { SourceMeter } from '@ringwall/proxy'

export function sourceMeter(onReading: (reading: FloodReading) => void): SourceMeter {
  const meter = new FloodMeter()
  return {
    asked: (source, ja4, isRefused, insisted) => meter.asked(source, ja4, isRefused, insisted),
    knocked: (source) => meter.knocked(source),
    look: (pressed, nowMs, connectionsOf) => {
      const reading = meter.look(pressed, nowMs, connectionsOf)
      if (reading !== undefined) onReading(reading)
    },
  }
}
