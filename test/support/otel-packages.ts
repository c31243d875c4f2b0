import { extraPackages } from './extra-packages.ts'

/** The packages that src/otel.ts loads, in the versions that the test has been run with. */
export const OTEL_PACKAGES = [
  '@opentelemetry/api@1.9.1',
  '@opentelemetry/auto-instrumentations-node@0.81.2',
  '@opentelemetry/sdk-node@0.223.0',
]

/** Their node_modules folder, 116 MB of which the service needs nothing; null without them. TEST_OTEL=install gets them. */
export function otelPackages(): Promise<string | null> {
  return extraPackages({ name: 'otel', packages: OTEL_PACKAGES, variable: 'TEST_OTEL' })
}
