"""Whether text stands out from what is behind it, computed as WCAG 2 does."""

from playwright.sync_api import Page

# For text of 24 px, or bold of 18.66 px, 3 is enough. What cannot be pressed just now may be pale.
FAINT = r"""() => {
  const numbers = (colour) => {
    const parts = colour.match(/[\d.]+(e-?\d+)?/g).map(Number);
    const scale = colour.startsWith("color(") ? 255 : 1;
    return [...parts.slice(0, 3).map((part) => part * scale), parts[3] ?? 1];
  };
  const over = (above, below) => [0, 1, 2].map((i) => above[i] * above[3] + below[i] * (1 - above[3]));
  const luminance = (colour) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const el = texts.currentNode.parentElement;
    const text = texts.currentNode.textContent.trim();
    const isShown = text && el.checkVisibility({ visibilityProperty: true });
    const unread = "svg, script, .visually-hidden, :disabled, [aria-disabled=true], [aria-hidden=true]";
    if (!isShown || el.closest(unread)) continue;
    let behind = [255, 255, 255];
    let opacity = 1;
    const around = [];
    for (let each = el; each; each = each.parentElement) around.unshift(getComputedStyle(each));
    for (const style of around) {
      behind = over(numbers(style.backgroundColor), behind);
      opacity *= Number(style.opacity);
    }
    const style = around.at(-1);
    const colour = numbers(style.color);
    const seen = over([...colour.slice(0, 3), colour[3] * opacity], behind);
    const [dark, light] = [luminance(seen), luminance(behind)].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: ${text}`);
  }
  return faint;
}"""


def faint_texts(page: Page) -> list[str]:
    """What is hard to read on a page as it is shown now, each with its contrast."""
    found: list[str] = page.evaluate(FAINT)
    return found
