import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;

/**
 * Runs command-line tools of Apache Kafka one after the other, so that a test pays for one start of
 * Java only. A line of standard input holds the base64 of what the tool reads, its main class and its
 * arguments, with a tab between; the answer is a line of the exit status and the base64 of what the
 * tool has written to its two outputs.
 */
public final class ApacheTools {
    private static final class Ended extends RuntimeException {
        Ended() {
            super("the tool has ended", null, false, false);
        }
    }

    /** What Scala's Console once took for standard output stays it: only what is behind changes. */
    private static final class Captured extends OutputStream {
        private ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int one) {
            bytes.write(one);
        }

        @Override
        public synchronized void write(byte[] some, int at, int count) {
            bytes.write(some, at, count);
        }

        synchronized String take() {
            String text = Base64.getEncoder().encodeToString(bytes.toByteArray());
            bytes = new ByteArrayOutputStream();
            return text;
        }
    }

    private static Integer status;

    private static void end(int code) {
        // A tool may catch what ends it and try to end with another status: the first one counts.
        if (status == null) status = code;
        throw new Ended();
    }

    /** Releases before 0.11 have no such door: there only a wrong command line ends the whole Java. */
    private static void catchExits(String setter) throws ReflectiveOperationException {
        try {
            Class<?> exit = Class.forName("org.apache.kafka.common.utils.Exit");
            Class<?> procedure = Class.forName("org.apache.kafka.common.utils.Exit$Procedure");
            Object caught =
                Proxy.newProxyInstance(
                    procedure.getClassLoader(),
                    new Class<?>[] {procedure},
                    (proxy, method, args) -> {
                        end((Integer) args[0]);
                        return null;
                    });
            exit.getMethod(setter, procedure).invoke(null, caught);
        } catch (ClassNotFoundException e) {
            return;
        }
    }

    public static void main(String[] unused) throws Exception {
        catchExits("setExitProcedure");
        catchExits("setHaltProcedure");
        PrintStream answers = System.out;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Captured out = new Captured();
        Captured err = new Captured();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split("\t", -1);
            System.setIn(new ByteArrayInputStream(Base64.getDecoder().decode(words[0])));
            status = null;
            try {
                Class<?> tool = Class.forName(words[1]);
                Object args = Arrays.copyOfRange(words, 2, words.length);
                tool.getMethod("main", String[].class).invoke(null, args);
            } catch (Throwable e) {
                Throwable cause = e.getCause() == null ? e : e.getCause();
                if (!(cause instanceof Ended)) {
                    cause.printStackTrace();
                    if (status == null) status = 1;
                }
            }
            System.out.flush();
            System.err.flush();
            answers.println((status == null ? 0 : status) + "\t" + out.take() + "\t" + err.take());
            answers.flush();
        }
    }
}
