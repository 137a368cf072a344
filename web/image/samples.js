// The bundled images and questions that the demo model was made for.
export const samples = [
  {
    file: 'red_circle_blue_star.webp',
    name: 'Red circle, blue star',
    questions: ['What color is the circle?', 'Where is the star?', 'Which is bigger, the red circle or the blue star?'],
  },
  {
    file: 'pink_heart_two_green_squares.webp',
    name: 'Pink heart, two green squares',
    questions: ['How many squares are there?', 'What color is the background?', 'Where is the heart?'],
  },
  {
    file: 'orange_triangle_two_circles.webp',
    name: 'Orange triangle, two circles',
    questions: ['What color is the circle?', 'What is above the cyan circle?', 'How many circles are there?'],
  },
  {
    file: 'two_yellow_stars_red_heart.webp',
    name: 'Two yellow stars, red heart',
    questions: ['How many shapes are there?', 'What is in the center?', 'Where is the pink square?'],
  },
  {
    file: 'green_circle_purple_cross.webp',
    name: 'Green circle, purple cross',
    questions: ['What is to the right of the green circle?', 'Is the background gray?', 'What color is the circle?'],
  },
  {
    file: 'yellow_circle_under_red_square.webp',
    name: 'Yellow circle under a red square',
    questions: ['What is above the circle?', 'What shape is the blue object?', 'How big is the circle?'],
  },
];
export const generalQuestions = [
  'How many shapes are there?',
  'What color is the background?',
  'What is in the center?',
];
