/**
 * The texts of a page whose contrast with their background is below that of WCAG 2, 1.4.3: 4.5, or 3 for large text. Runs
 * in the page; each as `class: colour on background`, once.
 */
export const LOW_CONTRASTS = `(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number)
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  const luminance = (rgb) => {
    const [red, green, blue] = rgb.map((part) => linear(part / 255))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const over = ([red, green, blue, alpha = 1], below) =>
    [red, green, blue].map((part, i) => part * alpha + below[i] * (1 - alpha))
  const background = (element) => {
    if (element === null) return channels(getComputedStyle(document.documentElement).colorScheme === 'dark' ? '0 0 0' : '255 255 255')
    const own = channels(getComputedStyle(element).backgroundColor)
    return (own[3] ?? 1) === 1 ? own : over(own, background(element.parentElement))
  }
  const isLow = (element) => {
    const { color, fontSize, fontWeight } = getComputedStyle(element)
    const below = background(element)
    const [one, other] = [luminance(over(channels(color), below)), luminance(below)]
    const size = parseFloat(fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(fontWeight) >= 700)
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < (isLarge ? 3 : 4.5)
  }
  const hasText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== '')
  const shown = [...document.body.querySelectorAll('*')].filter(
    (element) => hasText(element) && element.checkVisibility() && !element.disabled,
  )
  const names = shown.filter(isLow).map((element) =>
    element.tagName + '.' + element.className + ': ' + getComputedStyle(element).color + ' on ' + background(element).map(Math.round),
  )
  return [...new Set(names)]
})()`
