# Draws how many times as fast as transformers in float32 each engine is:
#   gnuplot -e "table='speed.tsv'; chart='docs/images/speed-DATE.svg'" tools/rivals/speed.gp
# speed.tsv: a row for each question, its name first ("\n" breaks it), then the ratios of the engines named in the first line; tabs between.
set terminal svg size 860,300 font 'sans-serif,12' background '#ffffff'
set output chart
set datafile separator tab
set datafile missing '–'
set style data histogram
set style histogram clustered gap 1.5
set style fill solid noborder
set logscale y 2
set yrange [1:64]
set grid ytics lc rgb '#dddddd'
set border 3 lc rgb '#888888'
set tics nomirror
set key top left horizontal autotitle columnhead noenhanced
set ylabel '× transformers, float32'
array colours[4] = ['#9aa0a6', '#7fb3d5', '#1f77b4', '#0b3c5d']
plot for [i = 2:5] table using i:xticlabels(1) lc rgb colours[i - 1]
