import { svg } from './dom.js';

// values: numbers, oldest first. Decorative: the newest is also shown as text.
export function sparkline(values, length) {
  const top = Math.max(1, ...values),
    width = 96,
    height = 22;
  const x = (i) => (width * (length - values.length + i)) / (length - 1);
  const y = (value) => height - 1.5 - (value / top) * (height - 3);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`);
  const chart = svg(
    'svg',
    { class: 'sparkline', viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    svg('line', { x1: 0, x2: width, y1: height - 1, y2: height - 1, class: 'spark-base' }),
  );
  if (values.length > 1) {
    chart.append(
      svg('polygon', { points: `${x(0)},${height} ${points.join(' ')} ${width},${height}`, class: 'spark-area' }),
      svg('polyline', { points: points.join(' '), class: 'spark-line' }),
    );
  }
  return chart;
}
