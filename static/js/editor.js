/* The network's editor: CodeMirror over a <textarea>, which stays the form's field; and code to read. Loaded only where they are needed. */

import { indentWithTab, isolateHistory } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { HighlightStyle, StreamLanguage, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lua } from "@codemirror/legacy-modes/mode/lua";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState, StateEffect, StateField, Transaction } from "@codemirror/state";
import { Decoration, EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { basicSetup } from "codemirror";
import { LANGUAGES } from "./languages.js";

// Colours are the page's custom properties, so that a change of theme needs no word to the editor.
const theme = EditorView.theme({
  "&": { backgroundColor: "var(--surface)", color: "var(--text)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--text)", padding: "8px 0" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--muted)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 6%, transparent)" },
  ".cm-activeLineGutter": { backgroundColor: "var(--accent-soft)", color: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "color-mix(in srgb, var(--accent) 28%, transparent) !important" },
  ".cm-selectionMatch": { backgroundColor: "color-mix(in srgb, var(--warn) 22%, transparent)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "color-mix(in srgb, var(--accent) 25%, transparent)" },
  ".cm-panels, .cm-tooltip": { backgroundColor: "var(--surface)", color: "var(--text)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent-soft)", color: "var(--text)" },
  ".cm-diagnostic": { whiteSpace: "pre-wrap", maxWidth: "70ch" },
  ".cm-foldPlaceholder": { backgroundColor: "var(--sunken)", color: "var(--muted)", border: "1px solid var(--line)" },
});

const highlighting = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.definitionKeyword, tags.moduleKeyword], color: "var(--code-keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--code-comment)", fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.definition(tags.variableName), tags.standard(tags.variableName), tags.className], color: "var(--code-name)" },
]);

const markLine = StateEffect.define();
const markedLine = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    let now = marks.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (effect.is(markLine)) now = effect.value === null ? Decoration.none : Decoration.set([Decoration.line({ class: "cm-bad-line" }).range(effect.value)]);
    }
    return now;
  },
  provide: (field) => EditorView.decorations.from(field),
});

const SUPPORT = { pytorch: python, torch: () => StreamLanguage.define(lua) };

// The page of a new model has one: it alone has editors, which make styles of their own.
const styleNonce = () => document.querySelector('meta[name="style-nonce"]').content;
const look = () => [theme, syntaxHighlighting(highlighting), EditorView.cspNonce.of(styleNonce())];

/** A text of the framework's language to read and to select. Answers {dom, selectAll()}. */
export function codeView(text, framework, label) {
  const view = new EditorView({
    doc: text.trimEnd(), // a last line without anything needs no number
    extensions: [
      lineNumbers(),
      SUPPORT[framework](),
      EditorState.readOnly.of(true),
      EditorView.contentAttributes.of({ "aria-label": label }),
      look(),
    ],
  });
  return {
    dom: view.dom,
    selectAll() {
      view.focus();
      view.dispatch({ selection: { anchor: 0, head: view.state.doc.length } });
    },
  };
}

/**
 * An editor that keeps a text for each framework, and shows that of `framework`. The textarea has what is shown, and gets
 * an "input" when that changes; each of `drafts`, textareas by framework, has the text of its framework while that is not
 * shown, so that the form sends it along. Answers {text(framework), setText(text), framework(), show(framework), focus(), goTo(line), showError(line, message), clearError()}.
 */
export function codeEditor(textarea, framework, drafts) {
  const states = new Map();
  let shown = framework;

  function newState(text) {
    const attributes = { "aria-label": `Custom network, in ${LANGUAGES[shown].name}`, spellcheck: "false" };
    for (const name of ["aria-describedby", "aria-invalid"]) if (textarea.hasAttribute(name)) attributes[name] = textarea.getAttribute(name);
    return EditorState.create({
      doc: text,
      extensions: [
        basicSetup,
        // Escape and then Tab leaves the editor: CodeMirror's own way out.
        keymap.of([indentWithTab]),
        indentUnit.of("    "),
        SUPPORT[shown](),
        lintGutter(),
        markedLine,
        look(),
        EditorView.contentAttributes.of(attributes),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          textarea.value = update.state.doc.toString();
          textarea.dispatchEvent(new Event("input"));
        }),
      ],
    });
  }

  const view = new EditorView({ state: newState(textarea.value) });
  const lineAt = (number) => view.state.doc.line(Math.min(Math.max(number, 1), view.state.doc.lines));
  textarea.hidden = true;
  textarea.after(view.dom);
  document.querySelector(`label[for="${textarea.id}"]`)?.addEventListener("click", () => view.focus());

  return {
    text: (of = shown) => (of === shown ? view.state.doc.toString() : drafts[of].value),
    /** One change, which one undo takes back, if it is not to be as if the text had been there from the first. */
    setText(text, { undoable = true } = {}) {
      const annotations = undoable ? isolateHistory.of("full") : Transaction.addToHistory.of(false);
      const { from, to } = view.state.selection.main;
      // Who has selected all, to paste in its place, has all of the new text selected.
      const isAll = view.hasFocus && from === 0 && to > 0 && to === view.state.doc.length;
      const selection = { anchor: 0, head: isAll ? text.length : 0 };
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, scrollIntoView: true, selection, annotations });
    },
    framework: () => shown,
    focus: () => view.focus(),
    goTo(number) {
      const line = lineAt(number);
      view.dispatch({ selection: { anchor: line.from, head: line.to }, effects: EditorView.scrollIntoView(line.from, { y: "center" }) });
      view.focus();
    },
    show(other) {
      if (other === shown) return;
      states.set(shown, view.state);
      drafts[shown].value = textarea.value = view.state.doc.toString();
      shown = other;
      view.setState(states.get(other) ?? newState(drafts[other].value));
      textarea.value = view.state.doc.toString();
      drafts[other].value = "";
    },
    showError(number, message) {
      const line = lineAt(number);
      view.dispatch(setDiagnostics(view.state, [{ from: line.from, to: line.to, severity: "error", message }]));
      view.dispatch({ effects: [markLine.of(line.from), EditorView.scrollIntoView(line.from, { y: "center" })] });
    },
    clearError() {
      view.dispatch(setDiagnostics(view.state, []));
      view.dispatch({ effects: markLine.of(null) });
    },
  };
}
