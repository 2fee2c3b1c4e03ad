"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const canvas = element("map"), pen = canvas.getContext("2d"), tip = element("tip");
const n = data.x.length, place = new Map(data.pictured.map((item, i) => [item, i]));
const colour = new Map(data.clusters.map((cluster) => [cluster.number, cluster.colour]));
const clusterName = new Map(data.clusters.map((cluster) => [cluster.number, cluster.name]));
const hidden = new Set();
const RIM = 0.04, REACH = 14, DOT = 4, STRIP = 120, NO_CLUSTER = "#b0b7c0";
const largest = (values) => values.reduce((most, value) => (value > most ? value : most), 0);
const extent = { x: largest(data.x), y: largest(data.y) };
let selected = new Set(), lasso = null, view = { x: 0, y: 0, zoom: 1 };

const isShown = (i) => data.x[i] !== null && !hidden.has(data.label[i]);

function scale() {
  const width = canvas.clientWidth, height = canvas.clientHeight, room = 1 - 2 * RIM;
  const fit = room * Math.min(width / (extent.x || 1), height / (extent.y || 1));
  return { fit: fit * view.zoom, left: width / 2 - (extent.x / 2 + view.x) * fit * view.zoom, top: height / 2 - (extent.y / 2 + view.y) * fit * view.zoom };
}
const onScreen = (i, s) => [s.left + data.x[i] * s.fit, s.top + (extent.y - data.y[i]) * s.fit];

function draw() {
  const ratio = window.devicePixelRatio || 1, s = scale();
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (let i = 0; i < n; i++) {
    if (!isShown(i)) continue;
    const [x, y] = onScreen(i, s);
    pen.globalAlpha = selected.size && !selected.has(i) ? 0.25 : 0.85;
    pen.fillStyle = colour.get(data.label[i]) || NO_CLUSTER;
    pen.beginPath();
    pen.arc(x, y, DOT, 0, 2 * Math.PI);
    pen.fill();
    if (selected.has(i)) {
      pen.strokeStyle = "#1c2430";
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
  if (lasso && lasso.length > 1) {
    pen.strokeStyle = "#1c2430";
    pen.setLineDash([5, 4]);
    pen.beginPath();
    lasso.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    pen.stroke();
    pen.setLineDash([]);
  }
}

function nearest(x, y) {
  const s = scale();
  let best = null, least = REACH * REACH;
  for (let i = 0; i < n; i++) {
    if (!isShown(i)) continue;
    const [px, py] = onScreen(i, s), distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function isInside(x, y, polygon) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

function show(target, item, side) {
  const i = place.get(item);
  if (i === undefined) {
    target.style.backgroundImage = "none";
    return;
  }
  const within = i % data.perSheet, times = side / data.side;
  target.style.backgroundImage = `url(${data.sheets[Math.floor(i / data.perSheet)]})`;
  target.style.backgroundSize = `${data.perRow * side}px auto`;
  target.style.backgroundPosition = `${-(within % data.perRow) * data.side * times}px ${-Math.floor(within / data.perRow) * data.side * times}px`;
}

function point(item, x, y) {
  tip.hidden = item === null;
  if (item === null) return;
  element("picture").hidden = !place.has(item);
  show(element("picture"), item, 160);
  const lines = [`item ${item}`, clusterName.get(data.label[item]) || "no cluster"];
  if (data.name.length) lines.splice(1, 0, data.name[item]);
  if (data.margin[item] !== null) lines.push(`margin ${data.margin[item].toFixed(2)}`);
  element("facts").textContent = lines.join("\n");
  const right = x + tip.offsetWidth + 16 > canvas.clientWidth, low = y + tip.offsetHeight + 16 > canvas.clientHeight;
  tip.style.left = `${Math.max(0, right ? x - tip.offsetWidth - 12 : x + 12)}px`;
  tip.style.top = `${Math.max(0, low ? y - tip.offsetHeight - 12 : y + 12)}px`;
}

function select(items, keepsText) {
  selected = new Set(items);
  const numbers = [...selected].sort((a, b) => a - b);
  element("count").textContent = numbers.length;
  if (!keepsText) element("numbers").value = numbers.join(", ");
  element("strip").replaceChildren(...numbers.filter((i) => place.has(i)).slice(0, STRIP).map((i) => {
    const tile = document.createElement("div");
    tile.title = data.name.length ? `item ${i}: ${data.name[i]}` : `item ${i}`;
    show(tile, i, 56);
    return tile;
  }));
  draw();
}

const where = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
canvas.addEventListener("pointerdown", (event) => { lasso = [where(event)]; point(null); });
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = where(event);
  if (!lasso) return point(nearest(x, y), x, y);
  lasso.push([x, y]);
  draw();
});
window.addEventListener("pointerup", (event) => {
  if (!lasso) return;
  const polygon = lasso, s = scale(), adds = event.shiftKey ? [...selected] : [];
  lasso = null;
  const xs = polygon.map(([x]) => x), ys = polygon.map(([, y]) => y);
  if (Math.max(...xs) - Math.min(...xs) < 4 && Math.max(...ys) - Math.min(...ys) < 4) {
    const item = nearest(...polygon[0]);
    return select(item === null ? adds : [...adds, item]);
  }
  const found = [...Array(n).keys()].filter((i) => isShown(i) && isInside(...onScreen(i, s), polygon));
  select([...adds, ...found]);
});
canvas.addEventListener("pointerleave", () => point(null));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [x, y] = where(event), before = scale();
  const at = [(x - before.left) / before.fit, (y - before.top) / before.fit];
  view.zoom = Math.min(200, Math.max(1, view.zoom * Math.exp(-event.deltaY / 400)));
  const after = scale();
  view.x += at[0] - (x - after.left) / after.fit;
  view.y += at[1] - (y - after.top) / after.fit;
  if (view.zoom === 1) view = { x: 0, y: 0, zoom: 1 };
  draw();
}, { passive: false });
canvas.addEventListener("dblclick", () => { view = { x: 0, y: 0, zoom: 1 }; draw(); });
element("clusters").addEventListener("change", (event) => {
  const number = Number(event.target.dataset.cluster);
  if (event.target.checked) hidden.delete(number);
  else hidden.add(number);
  draw();
});
element("clusters").addEventListener("click", (event) => {
  if (event.target.tagName !== "BUTTON") return;
  const number = Number(event.target.dataset.cluster);
  select([...Array(n).keys()].filter((i) => data.label[i] === number));
});
element("numbers").addEventListener("input", (event) => {
  const numbers = (event.target.value.match(/\d+/g) || []).map(Number).filter((i) => i < n);
  select(numbers, true);
});
element("clear").addEventListener("click", () => select([]));
element("copy").addEventListener("click", () => {
  element("numbers").select();
  if (navigator.clipboard) navigator.clipboard.writeText(element("numbers").value);
  else document.execCommand("copy");
});
window.addEventListener("resize", draw);
draw();
