import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The JVM: a map that only grows, direct buffers that are kept, threads that wait for ever, and garbage that its collector takes. */
final class Variants {
  private static final Map<Integer, byte[]> SESSIONS = new HashMap<>();
  private static final List<ByteBuffer> BUFFERS = new ArrayList<>();
  static byte[] last;

  /** Waits for ever at the bottom of a stack that was used. */
  private static int deep(int more) {
    long a = more, b = a + 1, c = b + 1;
    if (more > 0) return deep(more - 1) + (int) (a + b + c);
    synchronized (BUFFERS) {
      try {
        BUFFERS.wait();
      } catch (InterruptedException ended) {
        return 0;
      }
    }
    return 1;
  }

  public static void main(String[] words) throws InterruptedException {
    int count = 0;
    for (;; Thread.sleep(100)) {
      switch (words[0]) {
        case "map":
          for (int i = 0; i < 120; i++) SESSIONS.put(count++, new byte[1000]);
          break;
        case "direct":
          ByteBuffer buffer = ByteBuffer.allocateDirect(96 * 1024);
          for (int i = 0; i < buffer.capacity(); i += 512) buffer.put(i, (byte) i);
          BUFFERS.add(buffer);
          break;
        case "requests":
          for (int i = 0; i < 100; i++) last = new byte[16 * 1024];
          break;
        case "threads":
          for (int i = 0; i < 2; i++) {
            Thread waits = new Thread(() -> deep(60));
            waits.setDaemon(true);
            waits.start();
          }
          break;
        default:
          System.err.println("Variants: unknown mode " + words[0]);
          System.exit(2);
      }
    }
  }
}
