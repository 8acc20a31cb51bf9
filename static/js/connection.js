/* The one socket of a page, and the banner that says when it is down. */

import { io } from "socket.io-client";
import { h } from "./dom.js";
import { duration } from "./format.js";

const REFUSED_DELAY = 20_000;

let socket = null;
let lastData = Date.now();
let polling = false;
let loggedOut = false;

addEventListener("loggedout", () => {
  loggedOut = true;
});

/** The socket is a hint that there is news. What counts is always read again over HTTP after a break. */
export function connect() {
  if (socket) return socket;
  socket = io("/jobs", {
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    reconnectionDelay: 500,
    reconnectionDelayMax: 10_000,
  });
  let brokenSince = null;
  const broken = () => {
    brokenSince ??= Date.now();
  };
  const connectLater = () => setTimeout(() => socket.connect(), REFUSED_DELAY);
  socket.on("disconnect", (reason) => {
    broken();
    if (reason !== "io server disconnect") return;
    // Its session has ended. The person may log in again in another tab.
    loggedOut = true;
    connectLater();
  });
  socket.on("connect_error", () => {
    broken();
    // Refused, because too many pages are open: others may be closed.
    if (!socket.active) connectLater();
  });
  socket.on("connect", () => {
    brokenSince = null;
    heard();
    show(null);
  });
  setInterval(() => show(brokenSince), 1000);
  return socket;
}

/** Something came from the server just now; `byPolling`: while the socket was down. */
export function heard(byPolling = false) {
  lastData = Date.now();
  polling = byPolling;
  loggedOut = false;
}

function show(brokenSince) {
  const banner = document.getElementById("connection");
  // A moment's break, as when the server restarts a thread, is nobody's business.
  const hidden = brokenSince === null || Date.now() - brokenSince < 1500;
  if (banner.hidden !== hidden) banner.hidden = hidden;
  if (hidden) return;
  if (loggedOut) {
    showLogin(banner);
    return;
  }
  const seconds = Math.round((Date.now() - lastData) / 1000);
  const text = polling && seconds < 6
    ? "Live connection lost; asking every 2 seconds meanwhile."
    : `Reconnecting… last data ${duration(seconds)} ago`;
  if (banner.textContent !== text) banner.textContent = text;
}

function showLogin(banner) {
  if (banner.querySelector("a")) return;
  const login = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  banner.replaceChildren("You are not logged in any more. ", h("a", { href: login }, "Log in"), " to go on.");
}
