// Grids of numbers as colour. The same ramp in both colour schemes: dark to light is little to much.

const STOPS = [
  [12, 7, 38],
  [84, 18, 109],
  [170, 45, 94],
  [229, 92, 48],
  [251, 164, 26],
  [252, 250, 170],
];

export function ramp(value) {
  const at = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2),
    part = at - low;
  return STOPS[low].map((channel, i) => Math.round(channel + (STOPS[low + 1][i] - channel) * part));
}

export const rampCss = () => `linear-gradient(90deg, ${STOPS.map((stop) => `rgb(${stop.join(' ')})`).join(', ')})`;

// AttentionMap or FloatGrid -> {rows, columns, values, max}
export function gridOf(map) {
  const { rows, columns, values } = map.patches ?? map;
  return { rows, columns, values, max: Math.max(...values, 1e-12) };
}

// One pixel a patch; the style sheet scales it.
export function paintTile(canvas, grid) {
  canvas.width = grid.columns;
  canvas.height = grid.rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(grid.columns, grid.rows);
  grid.values.forEach((value, i) => image.data.set([...ramp(value / grid.max), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

// Over an image that fills size x size pixels of the context.
export function paintOverlay(context, grid, size) {
  const width = size / grid.columns,
    height = size / grid.rows;
  grid.values.forEach((value, i) => {
    const share = value / grid.max,
      column = i % grid.columns,
      row = Math.floor(i / grid.columns);
    const x = Math.round(column * width),
      y = Math.round(row * height);
    context.fillStyle = `rgb(${ramp(share).join(' ')} / ${0.78 - 0.2 * share})`;
    context.fillRect(x, y, Math.round((column + 1) * width) - x, Math.round((row + 1) * height) - y);
  });
}

// "most in row 2, column 3 (6.1 %)"
export function describe(grid) {
  const at = grid.values.indexOf(Math.max(...grid.values));
  return `most in row ${Math.floor(at / grid.columns) + 1}, column ${(at % grid.columns) + 1} (${(grid.values[at] * 100).toFixed(1)} %)`;
}
