/* The languages of the frameworks, and by what a text in each of them is known. */

export const LANGUAGES = {
  pytorch: {
    name: "Python",
    signs: [/^\s*(from\s+[\w.]+\s+)?import\s+\w/m, /^\s*(async\s+)?(def|class)\s+\w+.*:\s*(#.*)?$/m, /\blambda\b[^:\n]*:/, /\b(None|True|False)\b/, /^\s*#/m],
  },
  torch: {
    name: "Lua",
    signs: [/^\s*local\s+\w/m, /^\s*--/m, /\bfunction\b[\w.:\s]*\(.*\)/, /\b(then|do|end)[\s,)]*$/m, /\brequire\s*\(?\s*['"]/, /\w:\w+\s*\(/],
  },
};

/** The framework whose language a text is in, where that is plain: it has signs of that one, and none of any other. */
export function frameworkOf(text) {
  const likely = Object.keys(LANGUAGES).filter((framework) => LANGUAGES[framework].signs.some((sign) => sign.test(text)));
  return likely.length === 1 ? likely[0] : null;
}
