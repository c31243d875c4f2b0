import type { SecretSource } from '../lib/secret.ts'
import type { SettingType } from './types.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** One environment variable. */
export interface Setting<T> extends SettingType<T> {
  readonly name: string
  /** As an operator would write it; null if there is none. */
  readonly default: string | null
  /** A valid text: the default, or an example if there is none. */
  readonly example: string
  readonly description: string
}

/** A secret in one of two variables: its value, or the path of a file that contains it. */
export interface ValueOrFile<T, Required extends boolean> {
  readonly value: Setting<T | null>
  readonly file: Setting<string | null>
  /** The problem of a file's content, without repeating any of it; null if it is valid. */
  readonly validate: (content: string) => string | null
  readonly isRequired: Required
}

export type SettingTree =
  | Setting<unknown>
  | ValueOrFile<unknown, boolean>
  | { readonly [member: string]: SettingTree }

/** The configuration that a tree of settings describes. */
export type Infer<Tree> =
  Tree extends ValueOrFile<infer T, infer Required>
    ? SecretSource<NonNullable<T>> | (Required extends true ? never : null)
    : Tree extends Setting<infer T>
      ? T
      : { readonly [Member in keyof Tree]: Infer<Tree[Member]> }

/** A setting with a default. */
export function setting<T>(
  name: string,
  type: SettingType<T>,
  defaultText: string,
  description: string,
): Setting<T> {
  return { ...type, name, default: defaultText, example: defaultText, description }
}

/** A setting without a default: its value is null if it is not set. */
export function optional<T>(
  name: string,
  type: SettingType<T>,
  example: string,
  description: string,
): Setting<T | null> {
  return { ...type, name, default: null, example, description }
}

/** Infers the literal type of `isRequired`, which decides whether the secret can be null. */
export function valueOrFile<T, Required extends boolean>(
  secret: ValueOrFile<T, Required>,
): ValueOrFile<T, Required> {
  return secret
}

/** The settings of a tree, in its order. */
export function settingsIn(tree: SettingTree): Setting<unknown>[] {
  if (isSetting(tree)) return [tree]
  if (isValueOrFile(tree)) return [tree.value, tree.file]
  return Object.values(tree).flatMap(settingsIn)
}

export function isSetting(tree: SettingTree): tree is Setting<unknown> {
  return 'parse' in tree
}

export function isValueOrFile(tree: SettingTree): tree is ValueOrFile<unknown, boolean> {
  return 'validate' in tree
}
